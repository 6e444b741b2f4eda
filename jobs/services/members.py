"""Who belongs to a project, and as what."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from jobs.models import Membership, Project, Role
from jobs.services.audit import note_deed


def add_member(*, project: Project, user: User, role: str = Role.MEMBER) -> Membership:
    """Let a user into a project; one who is in it stays what he was."""
    with transaction.atomic():
        member, made = Membership.objects.get_or_create(
            project=project, user=user, defaults={"role": role}
        )
        if made:
            note_deed(
                action="member.add", target=user.get_username(), project=project, role=str(role)
            )
    return member


def change_member(*, member: Membership, role: str) -> bool:
    """Give a member another role; False if he had it already, or is gone."""
    with transaction.atomic():
        held = Membership.objects.select_for_update().filter(pk=member.pk).first()
        if held is None or held.role == role:
            return False
        old, held.role = held.role, role
        held.save(update_fields=["role"])
        note_deed(
            action="member.change",
            target=held.user.get_username(),
            project_id=held.project_id,
            role={"old": str(old), "new": str(role)},
        )
    return True


def remove_member(*, member: Membership) -> bool:
    """Take a member out of his project; False if he is out already."""
    with transaction.atomic():
        held = Membership.objects.select_for_update().filter(pk=member.pk).first()
        if held is None:
            return False
        note_deed(
            action="member.remove",
            target=held.user.get_username(),
            project_id=held.project_id,
            role=str(held.role),
        )
        held.delete()
    return True
