"""What the operating system and the machine give: files, signals, memory, devices, text for messages."""
