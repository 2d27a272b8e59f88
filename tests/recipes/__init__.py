"""What the recipes of CONTRIBUTING.md make, as small as it can be. The test copies these files to their places."""
