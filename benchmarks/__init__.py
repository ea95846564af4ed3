"""Each op beside what a user would otherwise pick: `make benchmark`, `make gpu-report`."""
