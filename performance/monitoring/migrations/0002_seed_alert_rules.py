from django.db import migrations

ABOVE, BELOW = "above", "below"
MB = 1024 * 1024

# name: metric, selector, aggregate, comparison, fire, clear, for_s, keep_firing_s, no_data, severity
RULES = {
    "API slow": ("response_time", "* api/*", "p95", ABOVE, 100, 80, 30, 60, "keep", "warning"),
    "Database slow": ("query_time", "", "p95", ABOVE, 10, 8, 30, 60, "keep", "warning"),
    "Requests fail": ("error_rate", "", "value", ABOVE, 0.02, 0.01, 20, 60, "keep", "critical"),
    "Memory high": ("memory", "", "value", ABOVE, 768 * MB, 700 * MB, 60, 120, "keep", "warning"),
    "Cache misses": ("cache_hit_ratio", "", "value", BELOW, 0.6, 0.7, 120, 120, "keep", "warning"),
    "Prices old": ("price_age", "", "p95", ABOVE, 60, 45, 30, 60, "keep", "critical"),
    "Tasks pile up": ("queue_depth", "", "value", ABOVE, 100, 50, 30, 60, "alert", "warning"),
    "Node silent": ("node_silence", "", "value", ABOVE, 5, 3, 5, 10, "alert", "critical"),
}
FIELDS = ("metric", "selector", "aggregate", "comparison", "fire_at", "clear_at", "for_s",
          "keep_firing_s", "no_data", "severity")  # fmt: skip


def seed(apps, schema_editor):
    rules = apps.get_model("performance_monitoring", "AlertRule")
    for name, values in RULES.items():
        rules.objects.get_or_create(name=name, defaults=dict(zip(FIELDS, values, strict=True)))


class Migration(migrations.Migration):
    dependencies = [("performance_monitoring", "0001_initial")]

    # Rules that staff have edited since are not taken back.
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
