from django.db import migrations

from portal.roles import make_roles


class Migration(migrations.Migration):

    dependencies = [
        ('portal', '0002_group_scope'),
        ('auth', '0012_alter_user_first_name_max_length'),
        ('contenttypes', '0002_remove_content_type_name'),
        ('usage', '0004_mirror_refuses_gaps'),
        ('sync', '0001_initial'),
    ]

    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop, elidable=False)]
