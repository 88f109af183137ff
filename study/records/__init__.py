"""What a study writes and its report reads: record types, files, folders, outcomes."""
