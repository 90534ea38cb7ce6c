// Applies the chosen theme before anything is rendered; without one, the system's is used.
try {
  const theme = localStorage.getItem('chatkeep.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage is disabled.
}
