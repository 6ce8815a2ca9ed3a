import django.db.models.functions.datetime
from django.db import migrations, models

from portal.audit import triggers


class Migration(migrations.Migration):

    dependencies = [
        ('portal', '0004_roles_of_saved_views'),
        ('auth', '0012_alter_user_first_name_max_length'),
        ('usage', '0006_saved_views'),
        ('mfa', '0003_authenticator_type_uniq'),
        ('socialaccount', '0006_alter_socialaccount_extra_data'),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('action', models.CharField(choices=[('added', 'Added'), ('changed', 'Changed'), ('deleted', 'Deleted')], max_length=7)),
                ('kind', models.CharField(choices=[('source', 'Source'), ('token', 'API token'), ('person', 'Person'), ('group', 'Group')], max_length=8, verbose_name='what')),
                ('object_id', models.BigIntegerField()),
                ('object_name', models.CharField(max_length=300, verbose_name='name')),
                ('changes', models.JSONField()),
                ('source_id', models.BigIntegerField(null=True)),
                ('user_id', models.BigIntegerField(null=True)),
                ('who', models.CharField(blank=True, help_text='A user name; empty where nobody was signed in.', max_length=150)),
                ('address', models.CharField(blank=True, help_text='Where the request came from.', max_length=64)),
                ('url', models.CharField(blank=True, max_length=300, verbose_name='page')),
                ('program', models.CharField(help_text='What was connected to the database.', max_length=200)),
            ],
            options={
                'verbose_name': 'entry of the audit log',
                'verbose_name_plural': 'audit log',
                'ordering': ('-id',),
                'default_permissions': ('view',),
                'indexes': [models.Index(models.F('at'), name='auditentry_at'), models.Index(models.F('who'), models.F('id'), name='auditentry_who'), models.Index(models.F('object_name'), models.F('id'), name='auditentry_name'), models.Index(models.F('kind'), models.F('id'), name='auditentry_kind'), models.Index(models.F('source_id'), models.F('id'), condition=models.Q(('source_id__isnull', False)), name='auditentry_source')],
            },
        ),
        migrations.RunPython(triggers.install, triggers.remove),
    ]
