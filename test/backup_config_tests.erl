%% @doc The settings: defaults, where they come from, the lock, and the password.
-module(backup_config_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("zotonic_core/include/zotonic.hrl").
-include_lib("zotonic_core/include/zotonic_file.hrl").

settings_test_() ->
    {foreach, fun setup/0, fun(_) -> backup_host:stop() end, [
        {"defaults", fun defaults/0},
        {"what people write", fun what_people_write/0},
        {"the site before the node", fun the_site_before_the_node/0},
        {"a lock", fun a_lock/0},
        {"limits", fun limits/0},
        {"a password is made once", fun a_password_is_made_once/0},
        {"no password is made over the node's", fun no_password_over_the_nodes/0},
        {"no password is made under a lock", fun no_password_under_a_lock/0},
        {"a file store in trouble", fun file_store_in_trouble/0}
    ]}.

setup() ->
    backup_host:stop().

context() ->
    host:context(testsite, "/nowhere").

defaults() ->
    C = context(),
    ?assertEqual(1, backup_config:daily_dump(C)),
    ?assertEqual(<<"03:00">>, backup_config:backup_time(C)),
    ?assertEqual(<<"UTC">>, backup_config:timezone(C)),
    ?assert(backup_config:verify_after(C)),
    ?assert(backup_config:allow_manual_backup(C)),
    ?assert(backup_config:allow_backup_download(C)),
    ?assertNot(backup_config:encrypt_backups(C)),
    ?assertNot(backup_config:admin_panel(C)),
    ?assertEqual(<<>>, backup_config:encrypt_password(C)),
    ?assertEqual(undefined, backup_config:notify_email(C)),
    ?assertEqual({18, 90, 30}, retention(C)).

retention(C) ->
    {
        backup_config:retention_months(C),
        backup_config:user_retention_days(C),
        backup_config:deleted_user_retention_days(C)
    }.

what_people_write() ->
    C = context(),
    Daily = fun(Value) -> backup_host:put_config(daily_dump, Value), backup_config:daily_dump(C) end,
    ?assertEqual([0, 0, 0], [Daily(V) || V <- [0, "0", <<"0">>]]),
    ?assertEqual([0], lists:usort([Daily(V) || V <- [off, "Off", <<"no">>, <<"none">>, none, false, <<" ">>, <<" 0 ">>]])),
    ?assertEqual([2, 2, 2], [Daily(V) || V <- [2, "2", <<"2">>]]),
    %% What is not understood makes more backups rather than none.
    ?assertEqual([1, 1, 1, 1], [Daily(V) || V <- [<<>>, undefined, <<"yes">>, 1]]),
    Allowed = fun(Value) ->
        backup_host:put_config(allow_backup_download, Value),
        backup_config:allow_backup_download(C)
    end,
    ?assertEqual([false], lists:usort([Allowed(V) || V <- [false, 0, "0", <<"0">>, <<"false">>, <<"No">>]])),
    ?assertEqual([true], lists:usort([Allowed(V) || V <- [true, 1, "1", <<"1">>, <<>>, undefined]])).

the_site_before_the_node() ->
    C = context(),
    backup_host:put_env(daily_dump, 2),
    ?assertEqual(2, backup_config:daily_dump(C)),
    backup_host:put_config(daily_dump, <<"0">>),
    ?assertEqual(0, backup_config:daily_dump(C)),
    backup_host:put_config(daily_dump, <<>>),
    ?assertEqual(2, backup_config:daily_dump(C)).

a_lock() ->
    C = context(),
    backup_host:put_env(is_config_locked, true),
    backup_host:put_config(daily_dump, <<"0">>),
    backup_host:put_config(encrypt_backups, <<"1">>),
    backup_host:put_config(backup_encrypt_password, <<"the site's">>),
    ?assertEqual(1, backup_config:daily_dump(C)),
    ?assertNot(backup_config:encrypt_backups(C)),
    ?assertEqual(<<>>, backup_config:encrypt_password(C)),
    backup_host:put_env(encrypt_backups, true),
    backup_host:put_env(backup_encrypt_password, "the node's"),
    ?assert(backup_config:encrypt_backups(C)),
    ?assertEqual(<<"the node's">>, backup_config:encrypt_password(C)),
    %% Of pages, and so not locked.
    backup_host:put_config(admin_panel, <<"1">>),
    ?assert(backup_config:admin_panel(C)).

limits() ->
    C = context(),
    Set = fun(Value) ->
        [backup_host:put_config(Key, Value) || Key <- [revision_retention_months,
            user_revision_retention_days, user_deletion_retention_days]],
        retention(C)
    end,
    ?assertEqual({1, 1, 30}, Set(<<"0">>)),
    ?assertEqual({1, 1, 30}, Set(<<"-5">>)),
    ?assertEqual({100, 100, 30}, Set(<<"100">>)),
    ?assertEqual({7, 7, 7}, Set(<<"7">>)),
    ?assertEqual({18, 90, 30}, Set(<<"many">>)).

switch_on(C) ->
    backup_host:put_config(encrypt_backups, <<"1">>),
    mod_backup:observe_m_config_update(
        #m_config_update{module = mod_backup, key = encrypt_backups, value = <<"1">>}, C).

a_password_is_made_once() ->
    C = context(),
    ok = mod_backup:observe_m_config_update(#m_config_update{module = mod_backup, key = daily_dump}, C),
    ok = mod_backup:observe_m_config_update(#m_config_update{module = other, key = encrypt_backups}, C),
    ?assertEqual(<<>>, backup_config:encrypt_password(C)),
    ok = switch_on(C),
    Password = backup_config:encrypt_password(C),
    ?assert(byte_size(Password) > 10),
    backup_host:put_config(encrypt_backups, <<"0">>),
    ok = switch_on(C),
    ?assertEqual(Password, backup_config:encrypt_password(C)).

no_password_over_the_nodes() ->
    C = context(),
    backup_host:put_env(backup_encrypt_password, <<"the node's">>),
    ok = switch_on(C),
    ?assertEqual(<<"the node's">>, backup_config:encrypt_password(C)),
    ?assertEqual(undefined, m_config:get_value(mod_backup, backup_encrypt_password, C)).

no_password_under_a_lock() ->
    C = context(),
    backup_host:put_env(is_config_locked, true),
    backup_host:put_env(encrypt_backups, true),
    ok = switch_on(C),
    ?assertEqual(undefined, m_config:get_value(mod_backup, backup_encrypt_password, C)).

file_store_in_trouble() ->
    C = context(),
    ?assertNot(backup_config:is_filestore_enabled(C)),
    host:set(observer, fun(#filestore_credentials_lookup{path = <<"backup/backup.json">>}, _) ->
        {ok, #filestore_credentials{service = <<"s3">>}}
    end),
    ?assert(backup_config:is_filestore_enabled(C)),
    host:set(observer, fun(_, _) -> {error, econnrefused} end),
    ?assertNot(backup_config:is_filestore_enabled(C)),
    host:set(observer, fun(_, _) -> exit(killed) end),
    ?assertNot(backup_config:is_filestore_enabled(C)).
