"""Any folder of images: what it holds is inferred."""

from dataclasses import dataclass

from patch_forcing.core.errors import UserError
from patch_forcing.data.folder_layout import find_images
from patch_forcing.data.image_data import ImageData, ImageOptions, local_path


@dataclass(frozen=True)
class FolderSource(ImageOptions):
    """A folder of images, of one subfolder of them for each class, or with captions."""

    path: str = ""
    """The folder; required."""

    def open(self) -> ImageData:
        """List the folder and look at some headers.

        Raises UserError if it is not given, not there, not arranged in classes, or unreadable.
        """
        if not self.path:
            raise UserError("data.path is not given: add --data.path DIR, a folder of images")
        return self.images(find_images(local_path(self.path), self.condition))
