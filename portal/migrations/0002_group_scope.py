import django.db.models.deletion
from django.db import migrations, models

import portal.throttling


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('portal', '0001_initial'),
        ('usage', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='apitoken',
            name='rate',
            field=models.CharField(blank=True, db_default='', default='', help_text='How often it may ask, such as 600/min; empty: as often as the settings say.', max_length=20, validators=[portal.throttling.validate_rate]),
        ),
        migrations.CreateModel(
            name='GroupScope',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('group', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='source_scope', to='auth.group')),
                ('sources', models.ManyToManyField(blank=True, help_text='Members see these sources and cannot learn of others.', related_name='+', to='usage.source')),
            ],
            options={
                'verbose_name': 'limit to sources',
                'verbose_name_plural': 'limit to sources',
            },
        ),
    ]
