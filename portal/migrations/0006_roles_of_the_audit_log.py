from django.db import migrations

from portal.roles import make_roles


class Migration(migrations.Migration):

    dependencies = [
        ('portal', '0005_audit'),
    ]

    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop, elidable=False)]
