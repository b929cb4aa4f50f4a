%% A stand-in for the file of the same name in Zotonic, with its records as they are there.
-record(m_config_update, {module, key, value}).
-record(admin_menu, {}).
-record(rsc_delete, {id, is_a}).
-record(rsc_update_done, {action, id, pre_is_a, post_is_a, pre_props, post_props}).
-record(rsc_upload, {id, format, data}).
-record(edge_insert, {subject_id, predicate, object_id, edge_id}).
-record(edge_delete, {subject_id, predicate, object_id, edge_id}).
-record(media_update_done, {action, id, pre_is_a, post_is_a, pre_props, post_props}).
-record(search_query, {name, args, offsetlimit, options = #{}, search}).
