"""The pages that recipients see: unsubscribe and preferences, at public_url. A site of its own, apart from the admin pages."""
