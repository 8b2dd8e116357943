"""What a DLL's name tells, what one PE file holds, and small DLLs written from nothing."""
