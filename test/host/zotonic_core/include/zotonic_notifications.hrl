%% A stand-in for the file of the same name in Zotonic, with its records as they are there.
-record(m_config_update, {module, key, value}).
-record(admin_menu, {}).
