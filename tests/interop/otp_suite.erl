%% Runs the cases of OTP's suites that ei_otp has built, each in a process of its own and for at most 60 s, as TAP. It stands
%% where common_test would: the suites ask of that their data folder, the group's name, and ct:fail/1,2, which is module ct here.
-module(otp_suite).
-export([main/1]).

main([Dir | Suites]) ->
    {ok, ct, Code} = compile:forms(ct(), []),
    {module, ct} = code:load_binary(ct, "ct", Code),
    Cases = [{list_to_atom(S), Group, Case} || S <- Suites, {Group, Case} <- cases(list_to_atom(S))],
    io:format("1..~b~n", [length(Cases)]),
    Failed = [N || {N, Case} <- lists:enumerate(Cases), not run(N, Dir, Case)],
    halt(min(1, length(Failed))).

%% -module(ct). fail(Reason) -> exit({failed, Reason}). fail(Format, Args) -> exit({failed, {Format, Args}}).
ct() ->
    Texts = ["-module(ct).", "-export([fail/1, fail/2]).",
             "fail(R) -> exit({failed, R}).", "fail(F, A) -> exit({failed, {F, A}})."],
    [begin {ok, T, _} = erl_scan:string(Text), {ok, F} = erl_parse:parse_form(T), F end || Text <- Texts].

cases(Suite) ->
    Groups = try Suite:groups() catch error:undef -> [] end,
    lists:flatmap(fun({group, G}) -> {G, _, Members} = lists:keyfind(G, 1, Groups), [{G, M} || M <- Members];
                     (Case) -> [{all, Case}]
                  end, Suite:all()).

run(N, Dir, {Suite, Group, Case}) ->
    Config = [{data_dir, filename:join(Dir, atom_to_list(Suite) ++ "_data")}, {priv_dir, Dir},
              {tc_group_properties, [{name, Group}]}],
    {Pid, Ref} = spawn_monitor(fun() -> Suite:Case(Suite:init_per_testcase(Case, Config)) end),
    Reason = receive {'DOWN', Ref, process, Pid, R} -> R after 60000 -> exit(Pid, kill), timeout end,
    gone(1000),
    [io:format("# ~0tp~n", [Reason]) || Reason =/= normal],
    io:format("~n~sok ~b - ~s ~s ~s~n", [case Reason of normal -> ""; _ -> "not " end, N, Suite, Group, Case]),
    Reason =:= normal.

%% The programs of a case have the names of those of the next: their connections, and what epmd knows of them, must be gone.
gone(0) -> left;
gone(Times) ->
    {ok, Names} = erl_epmd:names(),
    case {nodes(connected), Names} of
        {[], [_]} -> gone;
        _ -> timer:sleep(10), gone(Times - 1)
    end.
