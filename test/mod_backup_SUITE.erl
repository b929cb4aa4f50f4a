%% @doc The Zotonic module, in the stand-in for Zotonic.
-module(mod_backup_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").
-include_lib("zotonic_core/include/zotonic.hrl").

-export([all/0, suite/0, init_per_testcase/2]).
-export([is_a_module/1, lists_backups/1, list_that_cannot_be_read/1]).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), Name =/= module_info].

init_per_testcase(Name, Config) ->
    Dir = test_site:dir(Name, Config),
    [{dir, Dir}, {context, #context{site = testsite, files_dir = Dir}} | Config].

is_a_module(Config) ->
    Attributes = mod_backup:module_info(attributes),
    ?assertEqual([600], proplists:get_value(mod_prio, Attributes)),
    ?assertEqual([backup], proplists:get_value(mod_provides, Attributes)),
    {ok, Pid} = mod_backup:start_link([{context, ?config(context, Config)}]),
    ?assertEqual(ok, gen_server:stop(Pid)).

lists_backups(Config) ->
    Context = ?config(context, Config),
    ?assertEqual([], mod_backup:list_backups(Context)),
    Site = test_site:new(?config(dir, Config)),
    {ok, Job} = zbackup:backup(Site),
    {ok, #{backup := #{name := Name, timestamp := Timestamp}}} = zbackup:await(Job),
    Expected = #{
        name => Name,
        timestamp => calendar:system_time_to_universal_time(Timestamp, second),
        is_encrypted => false,
        is_database_present => false,
        is_files_present => true,
        is_config_files_present => true,
        is_filestore_uploaded => false
    },
    ?assertEqual([Expected], mod_backup:list_backups(Context)),
    ?assertEqual([Expected], mod_backup:observe_backup_list(backup_list, Context)).

list_that_cannot_be_read(Config) ->
    test_site:write(filename:join(?config(dir, Config), "backup/backup.json"), "{"),
    ?assertEqual([], mod_backup:list_backups(?config(context, Config))).
