"""Properties of molecules and crystals: files, records, features, labels."""
