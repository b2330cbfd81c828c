"""The site's side of a deployment: joining with a kit, and the Flower node beside the service."""
