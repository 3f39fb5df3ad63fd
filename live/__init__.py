"""All stacks at once, and a page on which a person sees them answer side by side."""
