from datetime import UTC, datetime

from django.db import migrations

# A rule that staff have edited is left as it is: every field must be as it was seeded.
REQUESTS_ONLY = "!feed, !worker, !beat, !monitor, !balance, !admin/*"
SEEDED = {
    "name": "Database slow", "metric": "query_time", "selector": REQUESTS_ONLY, "aggregate": "p95",
    "basis": "value", "comparison": "above", "fire_at": 100, "clear_at": 80, "for_s": 30,
    "keep_firing_s": 60, "no_data": "keep", "severity": "warning", "enabled": True,
}  # fmt: skip
# 10 ms is soon passed for a moment: only five minutes on end of it are worth a message.
TRUSTWORTHY = {"fire_at": 10, "clear_at": 8, "for_s": 300, "keep_firing_s": 120}


def copy_silences(apps, schema_editor):
    silences = apps.get_model("performance_monitoring", "AlertSilence").objects
    states = apps.get_model("performance_monitoring", "AlertState").objects
    now = datetime.now(UTC)
    for state in states.filter(silenced_until__gt=now):
        silences.create(
            rule_id=state.rule_id, starts_at=now, ends_at=state.silenced_until,
            reason="silenced before silences had reasons", by=state.silenced_by,
        )  # fmt: skip


def sharpen(apps, schema_editor):
    rules = apps.get_model("performance_monitoring", "AlertRule").objects
    rules.filter(**SEEDED).update(**TRUSTWORTHY)


class Migration(migrations.Migration):
    dependencies = [("performance_monitoring", "0007_silences_and_windows")]

    operations = [
        migrations.RunPython(copy_silences, migrations.RunPython.noop),
        migrations.RunPython(sharpen, migrations.RunPython.noop),
    ]
