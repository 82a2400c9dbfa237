"""The door for TokPortal: who may knock, is it signed, is it stored. What a message means is not decided here."""
