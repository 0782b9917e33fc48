"""Settings for tests, made from others."""

from dataclasses import replace

from service.settings import Settings, all_settings


def with_changes(settings: Settings, **changes: object) -> Settings:
    """Return settings with other values, given by their names in lower case and validated like any other."""
    unknown = changes.keys() - {name.lower() for name, _, _ in all_settings()}
    assert not unknown, unknown
    changed = {}
    for room, group in vars(settings).items():
        names = {str(info.validation_alias).lower(): name for name, info in type(group).model_fields.items()}
        chosen = {names[name]: value for name, value in changes.items() if name in names}
        changed[room] = group.replace(**chosen) if chosen else group
    return replace(settings, **changed)
