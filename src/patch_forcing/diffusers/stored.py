"""How a class of this package calls itself in the files of diffusers."""

import json

MODULE = "patch_forcing.diffusers"
"""What users import, whichever file of it a class is in."""


class Stored:
    """A class of diffusers that is stored under the name of the module that users import."""

    @classmethod
    def stored_name(cls) -> str:
        """As `_class_name` has it."""
        return f"{MODULE}.{cls.__name__}"

    def to_json_string(self) -> str:
        """The config as it is stored."""
        config = json.loads(super().to_json_string())  # type: ignore[misc]
        config["_class_name"] = self.stored_name()
        return json.dumps(config, indent=2, sort_keys=True) + "\n"
