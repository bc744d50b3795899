"""Who looks at the admin page: users' passwords, sessions, forms that only our pages can send, and what each visitor may see."""
