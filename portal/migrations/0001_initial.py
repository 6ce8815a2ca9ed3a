import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('usage', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ApiToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='What it is for.', max_length=200)),
                ('prefix', models.CharField(editable=False, help_text='How its secret begins.', max_length=16)),
                ('digest', models.BinaryField(max_length=32, unique=True)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('usage:read', 'Read usage'), ('sync:read', 'Read sources, days and runs'), ('sync:run', 'Ask for a synchronisation'), ('mirror:read', 'Read through the vendor-compatible endpoints')], max_length=20), help_text='What it may be used for.', size=None)),
                ('limited', models.BooleanField(default=False, help_text='It sees only the sources chosen here.')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('expires_at', models.DateTimeField(blank=True, help_text='Empty: it does not expire.', null=True)),
                ('revoked_at', models.DateTimeField(blank=True, help_text='From then on it opens nothing.', null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, help_text='To the minute.', null=True)),
                ('created_by', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('sources', models.ManyToManyField(blank=True, related_name='+', to='usage.source')),
            ],
            options={
                'verbose_name': 'API token',
                'ordering': ('-created_at', '-id'),
                'constraints': [models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='apitoken_has_name'), models.CheckConstraint(condition=models.Q(('scopes__contained_by', ['usage:read', 'sync:read', 'sync:run', 'mirror:read'])), name='apitoken_known_scopes'), models.CheckConstraint(condition=models.Q(('scopes__len__gt', 0)), name='apitoken_has_scope')],
            },
        ),
    ]
