"""Any folder of images: what it holds is inferred."""

from dataclasses import dataclass, field

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.data.folder_layout import find_images
from patch_forcing.data.image_data import ImageData, ImageOptions, local_path


@dataclass(frozen=True)
class FolderSource(ImageOptions):
    """A folder of images, of subfolders of them for each class, or with captions."""

    path: str = ""
    """The folder; required."""
    depth: int = 1
    """Which level of folders names the classes: 1 is the top one; 2 makes classes such as a/b of
    the second; 0: folders are no classes. Deeper folders belong to the class around them."""
    held_out: float | None = field(default=0.0, kw_only=True)
    """Share of the images kept out of training, whose loss is watched; 0: none. Default of the
    recipe folder: 0.05; 0.1 of fewer than 1,000 images, 0 of fewer than 100."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("data.depth", self.depth, 0, whole=True, mend="; 0: no classes")

    def open(self) -> ImageData:
        """List the folder and look at some headers.

        Raises UserError if it is not given, not there, not arranged in classes, or unreadable.
        """
        if not self.path:
            raise UserError("data.path is not given: add --data.path DIR, a folder of images")
        return self.images(find_images(local_path(self.path), self.condition, self.depth))
