import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('usage', '0005_revisions'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='SavedView',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('kind', models.CharField(max_length=40)),
                ('question', models.TextField(blank=True)),
                ('moving_range', models.CharField(blank=True, db_default='', default='', max_length=20)),
                ('shared', models.BooleanField(db_default=False, default=False, help_text='Others may open it too.')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ('name', 'id'),
                'indexes': [models.Index(models.F('name'), models.F('id'), condition=models.Q(('shared', True)), name='savedview_shared')],
                'constraints': [models.UniqueConstraint(models.F('owner'), models.F('name'), name='savedview_one_name'), models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='savedview_has_name')],
            },
        ),
    ]
