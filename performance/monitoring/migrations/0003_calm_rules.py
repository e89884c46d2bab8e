from django.db import migrations, models

# A rule that staff have edited is left as it is: only what was seeded is replaced.
REQUESTS_ONLY = "!feed, !worker, !beat, !monitor, !balance, !admin/*"
CHANGES = {
    "Database slow": (
        {"selector": "", "fire_at": 10, "clear_at": 8},
        {"selector": REQUESTS_ONLY, "fire_at": 100, "clear_at": 80},
    ),
    "Prices old": (
        {"fire_at": 60, "clear_at": 45},
        {"fire_at": 120, "clear_at": 90},
    ),
}


def calm(apps, schema_editor):
    rules = apps.get_model("performance_monitoring", "AlertRule").objects
    for name, (seeded, better) in CHANGES.items():
        rules.filter(name=name, **seeded).update(**better)


class Migration(migrations.Migration):
    dependencies = [("performance_monitoring", "0002_seed_alert_rules")]

    operations = [
        migrations.AlterField(
            model_name="alertrule",
            name="selector",
            field=models.CharField(
                blank=True,
                help_text="Patterns with * for the key, with commas between, such as "
                "`GET api/*, GET /` or `web-*`; `!admin/*` leaves out. Empty takes all.",
                max_length=200,
            ),
        ),
        migrations.RunPython(calm, migrations.RunPython.noop),
    ]
