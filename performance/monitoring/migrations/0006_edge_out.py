from django.db import migrations, models

# One probe in the last minute that found it out of use is enough; it is over after a good minute.
RULE = {
    "metric": "edge_out", "fire_at": 0.01, "clear_at": 0.001, "for_s": 0, "keep_firing_s": 10,
    "no_data": "ok", "severity": "warning",
}  # fmt: skip
METRICS = [
    ("response_time", "response time (ms)"),
    ("query_time", "database query time (ms)"),
    ("error_rate", "share of requests answered 5xx (0 to 1)"),
    ("throughput", "requests a second"),
    ("cache_hit_ratio", "cache hit ratio (0 to 1)"),
    ("price_age", "age of prices served (s)"),
    ("memory", "memory of the largest node (bytes)"),
    ("queue_depth", "tasks waiting"),
    ("node_silence", "longest silence of a node (s)"),
    ("edge_out", "share of time that the CDN was out of use (0 to 1)"),
    ("error_budget", "burn of the error budget (1 is the limit)"),
]


def seed(apps, schema_editor):
    rules = apps.get_model("performance_monitoring", "AlertRule")
    rules.objects.get_or_create(name="CDN out of use", defaults=RULE)


class Migration(migrations.Migration):
    dependencies = [("performance_monitoring", "0005_seed_budgets")]

    operations = [
        migrations.AlterField(
            "alertrule", "metric", models.CharField(max_length=24, choices=METRICS)
        ),
        migrations.RunPython(seed, migrations.RunPython.noop),
    ]
