from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("performance_caching", "0001_initial")]

    operations = [
        migrations.AlterModelOptions(
            name="cacheconfig",
            options={
                "ordering": ["cache_key"],
                "permissions": [
                    ("view_cache", "Can see the live page of the caches"),
                    ("purge_cache", "Can purge caches"),
                    ("warm_cache", "Can warm caches"),
                    ("inspect_cache", "Can read what single keys of the caches hold"),
                ],
            },
        ),
    ]
