from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("performance_balancing", "0004_set_aside")]

    operations = [
        migrations.AlterField(
            model_name="decision",
            name="action",
            field=models.CharField(
                choices=[
                    ("scale_up", "start nodes"),
                    ("scale_down", "stop nodes"),
                    ("hold", "leave as it is"),
                    ("pin", "set by hand"),
                    ("drain", "drain"),
                    ("stop", "stop"),
                    ("join", "take in"),
                    ("leave", "take out"),
                    ("reload", "reload the proxy"),
                    ("failed", "could not"),
                    ("policy", "choose otherwise"),
                    ("weight", "set a weight"),
                    ("aside", "set aside"),
                    ("back", "let back"),
                    ("spare", "start ahead"),
                ],
                max_length=16,
            ),
        ),
    ]
