"""The audit, its table made by SQL: Django's `flush` truncates what it manages."""

from django.db import migrations, models

TABLE = """
create table performance_dashboard_auditentry (
    number bigint primary key check (number > 0),
    at timestamptz not null,
    state varchar(10) not null check (state in ('began', 'done', 'failed', 'denied')),
    act varchar(100) not null,
    run varchar(32) not null,
    who_id bigint,
    who varchar(150) not null,
    address varchar(45) not null,
    given text not null,
    result text not null,
    previous varchar(64) not null unique,
    hash varchar(64) not null unique
);
create unique index performance_dashboard_audit_one_begin
    on performance_dashboard_auditentry (run) where state = 'began';
create unique index performance_dashboard_audit_one_end
    on performance_dashboard_auditentry (run) where state in ('done', 'failed');
create index performance_dashboard_audit_act
    on performance_dashboard_auditentry (act, number);

create function performance_dashboard_audit_refuse() returns trigger language plpgsql as $$
begin
    raise exception 'The audit is append-only: % is refused.', tg_op
        using errcode = 'insufficient_privilege';
end $$;
create trigger performance_dashboard_audit_rows
    before update or delete on performance_dashboard_auditentry
    for each row execute function performance_dashboard_audit_refuse();
create trigger performance_dashboard_audit_table
    before truncate on performance_dashboard_auditentry
    for each statement execute function performance_dashboard_audit_refuse();
"""

UNDO = """
drop table performance_dashboard_auditentry;
drop function performance_dashboard_audit_refuse();
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                (
                    "number",
                    models.BigIntegerField(
                        help_text="1, 2, 3 … without a gap.", primary_key=True, serialize=False
                    ),
                ),
                ("at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("began", "began"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("denied", "denied"),
                        ],
                        max_length=10,
                    ),
                ),
                ("act", models.CharField(max_length=100)),
                (
                    "run",
                    models.CharField(
                        help_text="The form's key; one act with one key runs at most once.",
                        max_length=32,
                    ),
                ),
                (
                    "who_id",
                    models.BigIntegerField(
                        help_text="No foreign key: it outlives the account.", null=True
                    ),
                ),
                ("who", models.CharField(max_length=150)),
                ("address", models.CharField(max_length=45)),
                ("given", models.TextField(help_text="The form's values, as JSON.")),
                ("result", models.TextField(blank=True)),
                (
                    "previous",
                    models.CharField(help_text="The hash of the line before.", max_length=64),
                ),
                ("hash", models.CharField(max_length=64)),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit entries",
                "db_table": "performance_dashboard_auditentry",
                "ordering": ("-number",),
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.RunSQL(TABLE, UNDO),
    ]
