"""Problems: the records, their readers, the prompts made of them, and the families that are built in."""
