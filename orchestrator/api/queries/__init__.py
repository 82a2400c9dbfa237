"""What can be asked, as pure functions of a connection: the API and the command line answer with the same.

Lists give `{"items", "next", "position"}`; `next` is the cursor of the next page, or None on the last one. A cursor
that cannot be read raises `cursors.BadCursor`. Items are plain values, ready to be written as JSON.
"""
