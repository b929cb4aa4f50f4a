%% @doc A few thousand requests at random; `make fuzz' has many more.
-module(term_fuzz_tests).

-include_lib("eunit/include/eunit.hrl").

terms_at_random_test_() ->
    {timeout, 60, fun() ->
        Dir = string:trim(os:cmd("mktemp -d")),
        Seed = erlang:system_time(),
        try
            ?assert(term_fuzz:run(Dir, 2, Seed) > 10)
        catch
            error:Problem -> error({seed, Seed, Problem})
        after
            file:del_dir_r(Dir)
        end
    end}.
