%% A stand-in for the file of the same name in Zotonic, with its records as they are there.
-record(menu_item, {id, parent, label, url, icon, visiblecheck, sort = 99999}).
-record(menu_separator, {parent, visiblecheck, sort = 99999}).
