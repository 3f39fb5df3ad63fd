"""The comparison as pages: everything that is recorded, side by side."""
