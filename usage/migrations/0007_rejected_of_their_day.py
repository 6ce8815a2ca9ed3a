"""Rejected records know their source and day; a source's calendar is fixed once days of it are held."""

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Upper

OF_ITS_DAY = """
CREATE FUNCTION usage_rejectedrecord_of_its_day() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT source_id, day INTO NEW.source_id, NEW.day FROM usage_sourceday WHERE id = NEW.source_day_id;
    RETURN NEW;
END $$;
CREATE TRIGGER usage_rejectedrecord_of_its_day
    BEFORE INSERT OR UPDATE OF source_day_id, source_id, day ON usage_rejectedrecord
    FOR EACH ROW EXECUTE FUNCTION usage_rejectedrecord_of_its_day();
UPDATE usage_rejectedrecord SET source_day_id = source_day_id;
SET CONSTRAINTS ALL IMMEDIATE;
"""
OF_NO_DAY = """
DROP TRIGGER usage_rejectedrecord_of_its_day ON usage_rejectedrecord;
DROP FUNCTION usage_rejectedrecord_of_its_day();
"""
# A day's bounds were counted in the zone that the source had, so changing the zone would put every day beside itself.
FIXED = """
CREATE FUNCTION usage_source_calendar_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM usage_sourceday WHERE source_id = NEW.id) THEN
        RAISE EXCEPTION 'The vendor and the time zone of % are fixed: days of it are held.', OLD.slug
            USING ERRCODE = 'check_violation', CONSTRAINT = 'source_calendar_is_fixed', TABLE = 'usage_source';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER usage_source_calendar_is_fixed
    BEFORE UPDATE OF vendor, time_zone ON usage_source
    FOR EACH ROW WHEN ((OLD.vendor, OLD.time_zone) IS DISTINCT FROM (NEW.vendor, NEW.time_zone))
    EXECUTE FUNCTION usage_source_calendar_is_fixed();
"""
LOOSE = """
DROP TRIGGER usage_source_calendar_is_fixed ON usage_source;
DROP FUNCTION usage_source_calendar_is_fixed();
"""
OPEN = models.Q(resolved_at=None)
OF_DAY, OF_SOURCE = ("day", "id"), ("source", "day", "id")
SOURCE = {"db_index": False, "editable": False, "on_delete": django.db.models.deletion.PROTECT, "related_name": "+"}


def index(name, columns, **kwargs):
    """Return the operation that adds an index to rejected records."""
    return migrations.AddIndex("rejectedrecord", models.Index(*map(models.F, columns), name=name, **kwargs))


class Migration(migrations.Migration):
    dependencies = [("usage", "0006_saved_views")]

    operations = [
        migrations.AddField("rejectedrecord", "source", models.ForeignKey(to="usage.source", null=True, **SOURCE)),
        migrations.AddField("rejectedrecord", "day", models.DateField(editable=False, null=True)),
        migrations.RunSQL(OF_ITS_DAY, OF_NO_DAY),
        migrations.AlterField("rejectedrecord", "source", models.ForeignKey(to="usage.source", **SOURCE)),
        migrations.AlterField("rejectedrecord", "day", models.DateField(editable=False)),
        index("rejectedrecord_day", OF_DAY),
        index("rejectedrecord_source", OF_SOURCE),
        index("rejectedrecord_open", OF_DAY, condition=OPEN),
        index("rejectedrecord_open_source", OF_SOURCE, condition=OPEN),
        migrations.AddIndex(
            "rejectedrecord",
            django.contrib.postgres.indexes.GinIndex(
                django.contrib.postgres.indexes.OpClass(Upper("reason"), name="gin_trgm_ops"),
                name="rejectedrecord_reason",
            ),
        ),
        migrations.RunSQL(FIXED, LOOSE),
    ]
