from django.db import migrations

# name: what differs from the model's defaults. An objective of 99.5 % leaves 3.6 hours a month.
RULES = {
    "Budget burns fast": {
        "metric": "error_budget", "selector": "!* admin/*", "objective": 0.995, "slow_ms": 500,
        "burn": "fast", "fire_at": 1, "clear_at": 0.8, "for_s": 0, "keep_firing_s": 300,
        "severity": "critical",
    },
    "Budget burns slowly": {
        "metric": "error_budget", "selector": "!* admin/*", "objective": 0.995, "slow_ms": 500,
        "burn": "slow", "fire_at": 1, "clear_at": 0.8, "for_s": 0, "keep_firing_s": 1800,
    },
    "Response time unusual": {
        "metric": "response_time", "selector": "!* admin/*", "aggregate": "p95", "basis": "week",
        "fire_at": 8, "clear_at": 5, "for_s": 300, "keep_firing_s": 300,
    },
}  # fmt: skip
# consequence: causes. What follows from a node's death or a slow database is told once.
CAUSES = {
    "API slow": ("Database slow", "Node silent"),
    "Requests fail": ("Node silent",),
    "Response time unusual": ("API slow", "Database slow"),
    "Budget burns slowly": ("Budget burns fast",),
}


def seed_budgets(apps, schema_editor):
    rules = apps.get_model("performance_monitoring", "AlertRule")
    for name, values in RULES.items():
        rules.objects.get_or_create(name=name, defaults=values)
    for name, causes in CAUSES.items():
        consequence = rules.objects.filter(name=name).first()
        if consequence is not None and not consequence.inhibited_by.exists():
            consequence.inhibited_by.set(rules.objects.filter(name__in=causes))


class Migration(migrations.Migration):
    dependencies = [("performance_monitoring", "0004_alerts_sent_and_tokens")]

    operations = [migrations.RunPython(seed_budgets, migrations.RunPython.noop)]
