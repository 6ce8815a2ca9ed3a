from django.db import migrations

from portal.roles import make_roles


class Migration(migrations.Migration):

    dependencies = [
        ('portal', '0003_roles'),
        ('usage', '0006_saved_views'),
    ]

    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop, elidable=False)]
