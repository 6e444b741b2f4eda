"""The groups of curation: reviewer, curator, admin."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

VIEWED = (
    "goldstar",
    "goldevent",
    "responsesearch",
    "reviewset",
    "reviewitem",
    "review",
    "dataset",
    "datasetversion",
    "export",
)
REVIEWER = [
    *(f"view_{name}" for name in VIEWED),
    "change_reviewitem",
    "change_review",
]
CURATOR = [*REVIEWER, "change_goldstar", "add_reviewset", "change_reviewset"]
OF_JOBS = ("view_batch", "view_batchrequest", "view_batchresponse", "view_project")


def make_groups(apps, schema_editor):
    # Permissions are otherwise made only once all migrations have run.
    for label in ("curation", "jobs"):
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = None
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    ours = Permission.objects.filter(content_type__app_label="curation")
    jobs = Permission.objects.filter(content_type__app_label="jobs", codename__in=OF_JOBS)
    for name, codenames in (("reviewer", REVIEWER), ("curator", CURATOR)):
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(*ours.filter(codename__in=codenames), *jobs)
    group, _ = Group.objects.get_or_create(name="admin")
    every = Permission.objects.filter(content_type__app_label__in=("curation", "jobs"))
    # Engine arguments can run code: models are for superusers.
    group.permissions.add(*every.exclude(codename__endswith="servedmodel"))


class Migration(migrations.Migration):
    dependencies = [
        ("curation", "0004_reviews"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
