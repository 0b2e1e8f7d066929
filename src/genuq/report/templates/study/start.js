startTheme();
startTerms();
if (byId("copy")) startCopy();
startTable();
startRetention();
sheetsReady.then(() => { startScatter(); document.documentElement.dataset.ready = "true"; });
