"""Every reader of a user's file, by the kind of file: whole examples of it, and what to call with a damaged one.

A reader answers with arrays that the oracle looks at.
"""

from tests.fuzz import arrays, images, texts

READERS = arrays.READERS | images.READERS | texts.READERS
