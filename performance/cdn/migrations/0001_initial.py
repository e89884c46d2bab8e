import uuid

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="StaticBuild",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("manifest_hash", models.CharField(max_length=32, unique=True)),
                (
                    "target",
                    models.CharField(
                        help_text="A bucket, or the origin's own disk.", max_length=200
                    ),
                ),
                (
                    "files",
                    models.JSONField(help_text="Paths below the target, with their size in bytes."),
                ),
                (
                    "bytes_by_encoding",
                    models.JSONField(help_text="identity, gzip, br and zstd, in bytes."),
                ),
                (
                    "published_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "ordering": ["-published_at"],
            },
        ),
        migrations.CreateModel(
            name="Purge",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("provider", models.CharField(max_length=20)),
                ("urls", models.JSONField(default=list)),
                ("tags", models.JSONField(default=list)),
                (
                    "soft",
                    models.BooleanField(
                        default=True, help_text="Expire, and let the edge serve it stale."
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "waiting"), ("sent", "sent"), ("failed", "given up")],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                (
                    "next_attempt_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "answer",
                    models.TextField(
                        blank=True, help_text="What the edge, or the error, said last."
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["-created_at"],
                "permissions": [
                    ("view_cdn", "Can see the CDN page"),
                    ("send_purge", "Can purge at the edge"),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "pending")),
                        fields=["next_attempt_at"],
                        name="purges_to_send",
                    ),
                    models.Index(fields=["-created_at"], name="newest_purges"),
                ],
            },
        ),
    ]
