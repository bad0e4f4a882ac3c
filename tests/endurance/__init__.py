"""What takes long to show on real processes, disks and sockets: `make endurance` at full length, tests at a part."""
