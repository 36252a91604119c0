"""Parts of the app; what does not import MONAI Label can be tested without it."""
