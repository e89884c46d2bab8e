from django.db import migrations, models

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
    ("scaling", "scaling of nodes (a count)"),
    ("error_budget", "burn of the error budget (1 is the limit)"),
]
# name: the gauge, for_s, keep_firing_s, no_data. Each fires from one on.
RULES = {
    "Nodes were started": ("started *", 0, 30, "ok"),
    "Too few nodes allowed": ("short *", 30, 60, "ok"),
    "Scaling sees nothing": ("blind *", 60, 60, "alert"),
}


def seed(apps, schema_editor):
    rules = apps.get_model("performance_monitoring", "AlertRule").objects
    for name, (selector, for_s, keep_firing_s, no_data) in RULES.items():
        rules.get_or_create(
            name=name,
            defaults={
                "metric": "scaling", "selector": selector, "fire_at": 0.5, "clear_at": 0.5,
                "for_s": for_s, "keep_firing_s": keep_firing_s, "no_data": no_data,
                "severity": "warning",
            },
        )  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("performance_monitoring", "0009_statements_of_samples")]

    operations = [
        migrations.AlterField(
            "alertrule", "metric", models.CharField(max_length=24, choices=METRICS)
        ),
        migrations.RunPython(seed, migrations.RunPython.noop),
    ]
