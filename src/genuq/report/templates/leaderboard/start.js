startTheme();
startTerms();
if (byId("copy")) startCopy();
document.documentElement.dataset.ready = "true";
