"""What others see of a running confd-py: its status socket, its metrics, its state in systemd."""
