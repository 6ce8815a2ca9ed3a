from django.db import migrations

from portal.accounts.audit.triggers import install_triggers


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0004_directory"),
        ("usage", "0002_directory"),
    ]

    operations = [
        # The trigger of saved views no longer logs their parameters.
        migrations.RunPython(install_triggers, migrations.RunPython.noop),
    ]
