"""ZIP: a strict reader that refuses what installers disagree on, and a writer that splices."""
